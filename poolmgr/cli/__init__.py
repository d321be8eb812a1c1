"""The command line: thin commands around the library."""

# Before cliff, which imports stevedore, too.
from poolmgr import plugins as plugins
