"""The settings of an installation: environment (``EVERFIT_*``) over ``.env`` over defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, Secret, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from base.hook_sender import HookSender
from base.receivers import Receiver
from base.webhooks import Webhook, check_webhook_name

SECRET_SETTINGS = (
    "database_url",
    "online_url",
    "connections",
    "storage_options",
    "personal_key",
    "signing_key",
    "former_signing_keys",
    "token",
    "webhooks",
    "hooks",
    "notify",
    "tls_key_password",
)
"""What a message about a wrong setting must not repeat."""


def _read_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('expected a JSON object, such as {"name": "value"}') from None


class Settings(BaseSettings):
    """Everything that differs between a laptop and a company, in one place.

    Examples
    --------
    >>> settings = Settings(home=Path("/srv/everfit"))
    >>> settings.artifacts
    '/srv/everfit/artifacts'
    >>> Settings(database_url="postgresql://me:secret@db/everfit").database_url
    SecretStr('**********')
    """

    # A setting may be a secret, and a traceback reaches logs.
    model_config = SettingsConfigDict(
        env_prefix="EVERFIT_", env_file=".env", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(Path(".everfit"), description="Folder of everything that Everfit keeps on this machine.")
    database_url: SecretStr | None = Field(None, description="SQLAlchemy URL; default: SQLite in the home folder.")
    online_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the online store; default: the registry's Postgres, else SQLite at home."
    )
    artifacts_url: str | None = Field(None, description="Any fsspec URL; default: a folder in the home folder.")
    environment: Literal["dev", "staging", "prod"] = Field(
        "prod", description="Whose aliases are read and moved: dev, staging or prod."
    )
    prefect_host: str = Field("127.0.0.1", description="Where `everfit up` binds Prefect's server.")
    prefect_port: int = Field(4200, description="Port of Prefect's server in the embedded set-up.")
    service_host: str = Field("127.0.0.1", description="Where the prediction service binds.")
    service_port: int = Field(8400, description="Port of the prediction service.")
    follow_seconds: float = Field(0.5, gt=0, description="How often the service looks whether an alias has moved.")
    rollout_seconds: float = Field(2.0, gt=0, description="How often the service looks at a running rollout.")
    shadow_budget: float = Field(
        0.25, gt=0, le=1, description="Share of one core that the shadow of a rollout may take in each process."
    )
    max_rows: int = Field(10_000, ge=1, description="Rows that one prediction request may hold.")
    max_stream_rows: int = Field(
        10_000_000, ge=1, description="Rows that one Arrow stream may hold, all of its batches together."
    )
    max_stream_bytes: int = Field(1 << 30, ge=1024, description="Bytes that one Arrow stream may hold.")
    max_labels: int = Field(200_000, ge=1, description="Labels that one request may bring.")
    token: SecretStr | None = Field(None, description="Token that commands show to the prediction service.")
    label_grace_seconds: float = Field(
        3600, ge=0, description="How long after its horizon a label may be observed before it counts as late."
    )
    max_body_bytes: int = Field(32 << 20, ge=1024, description="Bytes that the body of one request may hold.")
    workers: int = Field(1, ge=1, le=256, description="Processes of the prediction service, behind one address.")
    access: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether the service asks for tokens: on, off, or auto: on unless bound to loopback."
    )
    rate_per_second: float | None = Field(
        None, gt=0, description="Requests per second of each token, or of each address without one, in each worker."
    )
    rate_burst: int | None = Field(
        None, ge=1, description="Requests that may come at once after a rest; default: those of two seconds."
    )
    max_in_flight: int = Field(2048, ge=1, description="Unanswered requests in one worker; more are answered with 503.")
    max_header_bytes: int = Field(32 << 10, ge=1024, description="Bytes that the header of one request may hold.")
    header_seconds: float = Field(10, gt=0, description="How long the header of a request may take to arrive.")
    body_seconds: float = Field(60, gt=0, description="How long the body of a request may take to arrive.")
    drain_seconds: float = Field(
        1.0, ge=0, description="When told to stop, how long open connections are still answered before they are closed."
    )
    tls_certificate: Path | None = Field(None, description="PEM file of the service's certificate chain; turns TLS on.")
    tls_key: Path | None = Field(None, description="PEM file of its key; default: it stands in the certificate's file.")
    tls_key_password: SecretStr | None = Field(None, description="Password of the key's file.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file of authorities; who has no certificate from them is not even heard."
    )
    trusted_proxies: str | None = Field(
        None, description="Addresses of proxies whose X-Forwarded-For is believed, separated by commas."
    )
    access_log: Literal["off", "problems", "all"] = Field(
        "problems", description="Which requests are logged: off, problems (5xx, refused, slow) or all."
    )
    slow_seconds: float = Field(1.0, gt=0, description="From here on a request is slow, and logged as a problem.")
    log_format: Literal["auto", "text", "json"] = Field(
        "auto", description="How the service writes its log: text, json, or auto, which is text on a terminal."
    )
    tracing: Literal["auto", "otlp", "off"] = Field(
        "auto", description="OpenTelemetry: auto, where an SDK is loaded already; otlp, which loads it; off."
    )
    segment_rows: int = Field(50_000, ge=1, description="Predictions after which a segment of the log is sealed.")
    segment_seconds: float = Field(
        3600, gt=0, description="Age at which a segment of the log is sealed, however few predictions it holds."
    )
    log_durability: Literal["fsync", "flush"] = Field(
        "fsync", description="What an answered prediction has outlived, where its pipeline does not say."
    )
    log_on_full: Literal["refuse", "go_on"] = Field(
        "refuse", description="When the log cannot be written: refuse, or go_on; where a pipeline does not say."
    )
    log_upkeep_seconds: float = Field(
        60, gt=0, description="How often the service moves sealed segments to the artifact store and ends old ones."
    )
    dispatch_seconds: float = Field(
        0.2, gt=0, description="How often the dispatcher looks for trainings that were granted."
    )
    watch_seconds: float = Field(
        60, gt=0, description="How often new data, age, silence and changed definitions are looked at."
    )
    worker_poll_seconds: float = Field(0.2, gt=0, description="How often the warm worker asks for granted runs.")
    fit_threads: int = Field(
        1, ge=1, description="OpenMP threads of one fit; more can be slower when machines are busy."
    )
    fit_runner: Literal["threads", "processes", "dask"] = Field(
        "threads", description="Prefect's task runner for the fits of a search: threads, processes or dask."
    )
    fit_workers: int = Field(2, ge=1, description="How many fits of a search go on at a time.")
    dask_address: str | None = Field(None, description="Dask's scheduler; default: a cluster on this machine.")
    lease_seconds: float = Field(60, gt=0, description="A run that has not been heard of for so long is dead.")
    personal_key: SecretStr | None = Field(
        None, description="Secret by which personal values are hashed; default: drawn once, into the home folder."
    )
    connections: Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_read_json)] = Field(
        {}, description='SQLAlchemy URLs by name, as JSON: {"warehouse": "postgresql+psycopg://me:secret@db/sales"}.'
    )
    storage_options: Annotated[Secret[dict[str, dict[str, Any]]], NoDecode, BeforeValidator(_read_json)] = Field(
        Secret[dict[str, dict[str, Any]]]({}),
        description='What fsspec needs to know by protocol, as JSON: {"s3": {"key": ..., "secret": ...}}.',
    )
    source_tries: int = Field(5, ge=1, description="How often a source that is away is asked before a run fails.")
    source_wait_seconds: float = Field(
        1.0, ge=0, description="How long to wait before the second try; the next waits double, with chance added."
    )
    webhooks: Annotated[
        dict[Annotated[str, AfterValidator(check_webhook_name)], Webhook], NoDecode, BeforeValidator(_read_json)
    ] = Field(
        {},
        description='Who is told of what happens in the registry, as JSON: {"ops": {"url": "https://host/hooks", '
        '"secret": "whsec_...", "events": ["alias.moved"]}}.',
    )
    webhook_tries: int = Field(12, ge=1, description="How often a message is sent to a receiver that does not take it.")
    webhook_wait_seconds: float = Field(
        5.0, gt=0, description="How long to wait before the second try; the next waits are three times as long each."
    )
    hooks: Annotated[
        dict[Annotated[str, AfterValidator(check_webhook_name)], HookSender] | None,
        NoDecode,
        BeforeValidator(_read_json),
    ] = Field(
        None,
        description='Who may ask for trainings by signed hooks, as JSON: {"airflow": {"secret": "whsec_...", '
        '"pipelines": ["bike"]}}; default: as `everfit hooks` keeps them in the home folder.',
    )
    max_hook_bytes: int = Field(1 << 20, ge=1024, description="Bytes that the body of one hook may hold.")
    notify: Annotated[
        dict[Annotated[str, AfterValidator(check_webhook_name)], Receiver], NoDecode, BeforeValidator(_read_json)
    ] = Field(
        {},
        description='Who is told of what happens, by Apprise, as JSON: {"team": {"url": "slack://...", '
        '"from": "warning"}}, or the address alone.',
    )
    public_url: str | None = Field(
        None, description="Where people reach the service, such as https://ml.example.org; links in messages go there."
    )
    openlineage: str | None = Field(
        None, description="Where each run leaves OpenLineage events: a file, or an http(s) address."
    )
    trusted_types: tuple[str, ...] = Field(
        (), description="Types a model file may hold beside the built-in allow-list, by full name."
    )
    signing_key: SecretStr | None = Field(
        None, description="Secret by which versions are signed; default: drawn once, into the home folder."
    )
    former_signing_keys: SecretStr | None = Field(
        None, description="Secrets that signed before EVERFIT_SIGNING_KEY and are still believed, separated by spaces."
    )
    require_signature: bool = Field(True, description="Refuse to load a version that is not signed.")
    load_memory_bytes: int = Field(
        4 << 30, ge=256 << 20, description="Address space that the first load of a version may take, in its process."
    )
    compiled: bool = Field(
        True, description="Let the service answer by a version's compiled form (ONNX), where it has one that agrees."
    )
    load_seconds: float = Field(60, gt=0, description="How long the first load of a version may take.")
    explain_seconds: float = Field(
        1.0, gt=0, description="How long a request may wait for explanations of its answers."
    )
    explain_rows: int = Field(100, ge=1, description="How many rows of one request are explained.")

    @property
    def database(self) -> str:
        """The registry's database as a SQLAlchemy URL, with its password."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home.absolute() / 'everfit.db'}"

    @property
    def online(self) -> str:
        """The online store's database as a SQLAlchemy URL, with its password."""
        if self.online_url is not None:
            return self.online_url.get_secret_value()
        if self.database.startswith("postgres"):
            return self.database
        return f"sqlite:///{self.home.absolute() / 'online.db'}"

    @property
    def artifacts(self) -> str:
        """The artifact store's place: a folder or an fsspec URL."""
        return self.artifacts_url or str(self.home.absolute() / "artifacts")
