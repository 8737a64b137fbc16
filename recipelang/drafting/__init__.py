"""A first recipe: what is known of a network, its data and the machine becomes lines that say why they are there.

looking    network, data and machine → Facts (the only part that needs torch)
rules      Facts → Draft: what is done, in order, each line with its reason; no text, no network
evidence   the sentences that comments quote, with the study that measured them
writing    Draft → recipe.rcp and recipe.yaml
"""
