"""A robot face that listens to a person, live."""

from pkgutil import extend_path

# The compiled messages (react_ros.msg) lie in the installed package; in a source tree
# that is found first, they must still be importable.
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"
