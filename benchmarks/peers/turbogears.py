"""TurboGears2: a generator returned by an exposed method."""

from tg import MinimalApplicationConfigurator, TGController, expose

from peers.exports import as_csv, as_ndjson
from peers.generators import items, sleeps


class Root(TGController):
    @expose(content_type="application/octet-stream")
    def sync(self, count: str, size: str):
        return items(int(count), int(size))

    @expose(content_type="text/plain")
    def sleep(self, count: str, ms: str):
        return sleeps(int(count), int(ms))

    @expose(content_type="text/csv")
    def flights_csv(self, count: str):
        return as_csv(int(count))

    @expose(content_type="application/x-ndjson")
    def flights_ndjson(self, count: str):
        return as_ndjson(int(count))


_configuration = MinimalApplicationConfigurator()
_configuration.update_blueprint({"root_controller": Root(), "disable_request_extensions": True})
app = _configuration.make_wsgi_app()
