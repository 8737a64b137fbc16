"""The functions of `recipelang.editor` as answers to the requests of editors, one file for each sort."""
