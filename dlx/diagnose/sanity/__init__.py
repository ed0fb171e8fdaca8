"""What experienced people look at before they train: is the data what it seems, and can this network learn from it?"""
