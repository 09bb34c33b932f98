"""The two database examples of TurboGears' page on streaming, as printed, and what surrounds them there."""

# fmt: off
# ruff: noqa: N806, PLC0415, Q000, RUF021, UP031  the page's own code
# mypy: disable-error-code="no-untyped-def,no-untyped-call,import-untyped"

from __future__ import annotations

from types import SimpleNamespace

from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from millstream import TGController, expose
from millstream.database import Database

PAUSE = 0.01
"""Instead of the page's second, so that nine of them are soon over."""


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "tg_user"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    user_name: Mapped[str]


class Permission(Base):
    __tablename__ = "tg_permission"

    permission_id: Mapped[int] = mapped_column(primary_key=True)
    permission_name: Mapped[str]
    # PostgreSQL looks at it when it commits, and not before.
    owner_id: Mapped[int | None] = mapped_column(
        ForeignKey("tg_user.user_id", deferrable=True, initially="DEFERRED")
    )


def page_controller(database: Database, sleep) -> TGController:
    DBSession = database.session
    model = SimpleNamespace(User=User, Permission=Permission)
    time = SimpleNamespace(sleep=lambda _: sleep(PAUSE))

    class Page(TGController):
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

    return Page()
