"""stevedore, which finds plugins, without a cache in an odd place.

It keeps what it has found beneath the home of the user.  For one without a
home that is a folder called "~" in the folder that the process happens to be
in: it would be made there, and what is found there would be believed.
"""

import os

_VARIABLE = "XDG_CACHE_HOME"

_before = os.environ.get(_VARIABLE)
if not os.path.isabs(_before or os.path.expanduser("~/.cache")):
    # Nothing is found in there, and nothing can be made.
    os.environ[_VARIABLE] = os.devnull
try:
    # It looks for the place when it is imported.
    import stevedore as stevedore
finally:
    if _before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = _before
