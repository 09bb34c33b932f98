"""The composition root: settings, controllers and participants become one ASGI application."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from starlette.types import Receive, Scope, Send

from millstream.codecs.adapters import Adapt, Adapters
from millstream.codecs.base import Codec
from millstream.codecs.catalogue import DEFAULT
from millstream.codecs.values import VALUES, Values
from millstream.config import Settings
from millstream.dispatch.survey import actions, applications
from millstream.dispatch.traversal import Tree
from millstream.dispatch.uses import require_settled
from millstream.engine.ledger import Ledger
from millstream.engine.threads import Lanes
from millstream.errors import ConfigurationError
from millstream.gateways.asgi import Gateway
from millstream.pipeline.clients import ClientKey
from millstream.pipeline.hallway import Visit
from millstream.pipeline.house import House
from millstream.pipeline.plans import Planner
from millstream.pipeline.runs import Runs
from millstream.protocol.ports import Hosted, ItemHook, Participant, Transform
from millstream.web.templates import Templates


class Millstream:
    """An ASGI application.

    Args:
        root: the root controller, or its class.
        settings: what whoever deploys it decided.
        participants: what opens with every request and settles with its stream, in the order of opening.
        codecs: formats of your own, to be named in `expose` beside the built-in ones.
        transforms: hooks on bodies, in the order they see them.
        item_hooks: hooks on the items of streams, in the order they see them.
        client_key: whom a stream counts for, from its request: a user, a tenant, an address' network; the
            client's address when it is not given. "" is nobody, who has no cap of its own.
        adapters: what objects of your own classes are, by their class: a function that makes a dict, a text,
            rows or anything else that can be sent of one.

    Raises:
        ConfigurationError: when a controller, an exposure or a setting cannot be used, or the session of a
            database that is no participant is: at start-up, not at the first request.
    """

    def __init__(
        self,
        root: object,
        settings: Settings | None = None,
        *,
        participants: Sequence[Participant] = (),
        codecs: Iterable[type[Codec]] = (),
        transforms: Sequence[Transform] = (),
        item_hooks: Sequence[ItemHook] = (),
        client_key: ClientKey | None = None,
        adapters: Mapping[type, Adapt] | None = None,
    ) -> None:
        self.settings = settings or Settings()
        catalogue = DEFAULT
        for codec in codecs:
            catalogue = catalogue.with_codec(codec)
        templates = Templates(self.settings.templates, reload=self.settings.debug)
        values = VALUES if not adapters else Values(Adapters(adapters))
        planner = Planner(catalogue, templates, self.settings, client_key, values)
        self.tree = Tree(root, planner.extensions_of)
        require_settled(self.tree, participants)
        for action in actions(self.tree):
            planner.plan(action)
        self.ledger = Ledger(self.settings)
        url = self.settings.durable_url
        self._runs = None if url is None else Runs(url, self.settings, planner)
        house = House(
            settings=self.settings,
            tree=self.tree,
            planner=planner,
            templates=templates,
            ledger=self.ledger,
            lanes=Lanes(self.settings.max_sync_streams, self.settings.retry_after),
            participants=tuple(participants),
            transforms=tuple(transforms),
            item_hooks=tuple(item_hooks),
            runs=self._runs,
            hosted=[app for app in applications(self.tree) if isinstance(app, Hosted)],
        )
        for hosted in house.hosted:
            self.ledger.on_drain(hosted.stop_followers)
            self.ledger.on_drained(hosted.stop_bodies)
        if self._runs is not None:
            self._runs.answer = lambda recording: Visit(house, recording, recording).run()
            self._runs.ends = lambda: self.ledger.draining
            self.ledger.on_drain(self._runs.stop_followers)
            self.ledger.on_drained(self._runs.stop_bodies)
        self._gateway = Gateway(house)

    async def purge(self, run: str) -> bool:
        """Forget a durable run, so that its key is free; its readers are cut off.

        A run that goes on is ended, and its reason is `revoked`.

        Args:
            run: its id, which its readers were told as `Stream-Id`.

        Returns:
            False when there is no such run.

        Raises:
            ConfigurationError: when there is no log, or it cannot be used.
        """
        if self._runs is None:
            raise ConfigurationError("there are no durable runs to purge: set durable_url")
        return await self._runs.purge(run)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI scope."""
        if self._runs is not None and scope["type"] == "lifespan":
            receive = self._runs.opened_first(receive, send)
        await self._gateway(scope, receive, send)
