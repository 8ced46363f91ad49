"""Where the folders are that users run and edit: rules, dashboards, notebooks, recorded streams.

They travel in the wheel as data; in a checkout they lie at its root. Nothing imports them by name.
"""

from pathlib import Path
from typing import Final, Literal, get_args

from birdwatch.errors import SettingsError

__all__ = ["FOLDERS", "Folder", "content"]

Folder = Literal["analysis", "dashboards", "detectors", "sample_streams"]

FOLDERS: Final[tuple[Folder, ...]] = get_args(Folder)
"""All content folders by name."""

_PACKAGE: Final = Path(__file__).parent


def content(name: Folder) -> Path:
    """Find a content folder: in the installed package, or at the root of the checkout.

    Raises
    ------
    SettingsError
        It is in neither place.
    ValueError
        There is no content folder of that name.
    """
    if name not in FOLDERS:
        raise ValueError(f"{name!r} is no content folder: there are {', '.join(FOLDERS)}")
    places = (_PACKAGE / "_content" / name, _PACKAGE.parents[1] / name)
    for place in places:
        if place.is_dir():
            return place
    raise SettingsError(f"{name}/ is neither at {places[0]} nor at {places[1]}: install birdwatch again")
