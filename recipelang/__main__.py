"""`python -m recipelang` is the command `recipe`: for editors and machines whose PATH does not have it."""

from recipelang.cli import main

if __name__ == "__main__":
    main()
