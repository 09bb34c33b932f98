"""The four Python examples of TurboGears' page about streaming responses, as they are printed there.

That is why this file is neither formatted nor annotated. The fourth has no `yield`: as printed it is no
stream, but an action that takes nine seconds, writes nine rows and answers nothing (204).
"""
# fmt: off
# ruff: noqa: ANN201, ANN202, ANN001, D102, N806, PLC0415, PLR2004, Q000, RUF021, SLF001, UP031  the page's own code
# mypy: disable-error-code="no-untyped-def,no-untyped-call,import-untyped"

from __future__ import annotations

import time

from millstream import TGController, expose, request
from millstream.database import Database
from millstream.demo import model


class Generators(TGController):
    """The example of "Streaming with Generators"."""

    @expose(content_type='application/json')
    def stream_list(self):
        def output_pause():
            num = 0
            yield '['
            while num < 9:
                num += 1
                yield '%s, ' % num
                time.sleep(1)
            yield '10]'
        return output_pause()


class AccessingRequest(TGController):
    """The example of "Accessing Request"."""

    @expose(content_type='text/css')
    def stream(self):
        def output_pause(req):
            num = 0
            while num < 10:
                num += 1
                yield '%s/%s\n' % (req.path_info, num)
                time.sleep(1)
        return output_pause(request._current_obj())


def page_controller(database: Database) -> TGController:
    """One controller for each example, because two of them bear the same name."""
    DBSession = database.session

    class ReadingFromDatabase(TGController):
        """The example of "Reading from Database"."""

        @expose(content_type='application/json')
        def stream_db(self):
            def output_pause():
                num = 0
                yield '['
                while num < 9:
                    u = DBSession.query(model.User).filter_by(user_id=num).first()
                    num += 1
                    yield u and '"%s", ' % u.user_name or 'null, '
                    time.sleep(1)
                DBSession.remove()
                yield 'null]'
            return output_pause()

    class WritingToDatabase(TGController):
        """The example of "Writing to Database"."""

        @expose(content_type='application/json')
        def stream_list(self):
            def output_pause():
                import transaction
                num = 0
                while num < 9:
                    DBSession.add(model.Permission(permission_name='perm_%s'%num))
                    num += 1
                    time.sleep(1)
                DBSession.flush()
                transaction.commit()
                DBSession.remove()
            return output_pause()

    class PageController(TGController):
        generators = Generators()
        accessing = AccessingRequest()
        reading = ReadingFromDatabase()
        writing = WritingToDatabase()

    return PageController()
