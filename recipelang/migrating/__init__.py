"""Recipes of SparseML, LLM Compressor, Distiller and torchdistill become recipes of this language.

`migrate` is the one door; a format is one file with tables, in which every item that is not translated has what comes
nearest, with the reason. None of it imports torch.
"""
