"""Which version of one model serves, as the control stream says: registered, rolled back, retired."""

from birdwatch.records import Control
from birdwatch.serving.runner.model import Spec

__all__ = ["Deployment"]


class Deployment:
    """The versions of one model, in the order in which they came into force.

    Parameters
    ----------
    model
        Records of other models are ignored.
    first
        The version that serves until control says otherwise.

    Attributes
    ----------
    retired
        Whether the model should no longer score.

    Examples
    --------
    >>> deployment = Deployment("m", Spec("1", "old:score"))
    >>> at = dict(ts=0, author="me", reason="an example", model="m")
    >>> deployment.apply(Control(action="register", version="2", params={"target": "new:score"}, **at))
    >>> deployment.wanted.target
    'new:score'
    >>> deployment.apply(Control(action="rollback", version="2", params={"to": "1"}, **at))
    >>> deployment.wanted.target
    'old:score'
    """

    def __init__(self, model: str, first: Spec) -> None:
        self._model = model
        self._history = [first]
        self._specs = {first.version: first}
        self.retired = False

    @property
    def wanted(self) -> Spec:
        """The version that should serve."""
        return self._history[-1]

    def apply(self, control: Control) -> str | None:
        """Take a control record into account; one that cannot be is left out, and the reason given.

        Returns
        -------
        str or None
            Why it was refused.
        """
        if control.model != self._model:
            return None
        refused: str | None = None
        if control.action == "register":
            refused = self._register(control)
        elif control.action == "rollback":
            refused = self._roll_back(control)
        elif control.action == "retire" and control.version in {"", self.wanted.version}:
            self.retired = True
        return f"{control.action} {self._model!r} {control.version!r}: {refused}" if refused else None

    def _register(self, control: Control) -> str | None:
        # A new artifact alone goes through the same target with the same options; a new target alone takes none.
        params = control.params
        before = Spec("", "") if "target" in params else self.wanted
        target = params.get("target", before.target)
        artifact = params.get("artifact", before.artifact)
        options = params.get("options", before.options)
        if not isinstance(target, str) or not isinstance(artifact, str | None) or not isinstance(options, dict):
            return f"params {params!r}: target and artifact are text, options an object"
        spec = Spec(control.version, target, artifact, options)
        self._specs[spec.version] = spec
        self._history = [*(old for old in self._history if old.version != spec.version), spec]
        self.retired = False
        return None

    def _roll_back(self, control: Control) -> str | None:
        kept = [spec for spec in self._history if spec.version != control.version]
        to = control.params.get("to") or (kept[-1].version if kept else None)
        if not isinstance(to, str) or to not in self._specs:
            return f"version {to!r} was never registered here: known are {', '.join(sorted(self._specs))}"
        if control.version == self.wanted.version:
            target = self._specs[to]
            kept = [*(spec for spec in kept if spec != target), target]
        self._history = kept or self._history
        return None

    def refuse(self, spec: Spec) -> bool:
        """Take back a version that cannot be loaded, so that the one before it is wanted.

        Returns
        -------
        bool
            Whether there is one before it.
        """
        before = [other for other in self._history if other != spec]
        self._history = before or self._history
        return bool(before)
