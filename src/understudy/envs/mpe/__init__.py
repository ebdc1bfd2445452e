"""Multi-agent particle environments (Lowe et al. 2017, as in mpe2), many copies stepped together."""
