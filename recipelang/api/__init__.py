"""What `import recipelang` offers: recipes checked, planned and run, with networks and data of a program."""
