"""The generator of the shipped sample datasets: one package or module per dataset, and a tiny 65816 to check them."""
