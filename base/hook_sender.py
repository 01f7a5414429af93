"""Who may ask for trainings by hooks: the secrets by which a sender signs, and the pipelines that it may ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from base.webhooks import check_secret, read_secret


class HookSender(BaseModel):
    """One sender; while its secret is being changed, both stand in ``secret``, with a space between.

    Examples
    --------
    >>> sender = HookSender(secret="whsec_" + "A" * 32, pipelines=("bike",))
    >>> sender
    HookSender(secret=SecretStr('**********'), pipelines=('bike',))
    >>> sender.may_ask("bike"), sender.may_ask("trips"), len(sender.keys[0])
    (True, False, 24)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: Annotated[SecretStr, AfterValidator(check_secret)]
    pipelines: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """What a signature is checked with: any of these."""
        return tuple(read_secret(one) for one in self.secret.get_secret_value().split())

    def may_ask(self, pipeline: str) -> bool:
        """Tell whether the sender may ask for a training of a pipeline; one without a list may ask for any."""
        return not self.pipelines or pipeline in self.pipelines
