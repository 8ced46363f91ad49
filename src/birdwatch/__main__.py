"""``python -m birdwatch`` is ``birdwatch``."""

from birdwatch.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
