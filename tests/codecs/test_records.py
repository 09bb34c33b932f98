from __future__ import annotations

from typing import Any

import pydantic
import pytest
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import (
    Bundle,
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    load_only,
    mapped_column,
    relationship,
    undefer,
)

from millstream.codecs.adapters import DEFAULT
from millstream.codecs.natures import Nature


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    notes: Mapped[str] = mapped_column(default="n", deferred=True)
    kind: Mapped[str] = mapped_column(default="user")
    posts: Mapped[list[Post]] = relationship()

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}  # noqa: RUF012  SQLAlchemy's way


class Admin(User):
    __tablename__ = "admins"

    id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    level: Mapped[int] = mapped_column(default=3)

    __mapper_args__ = {"polymorphic_identity": "admin"}  # noqa: RUF012  as above


class Post(Base):
    __tablename__ = "posts"

    number: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))


@pytest.fixture
def session() -> Any:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as opened:
        opened.add_all([User(id=1, name="ann"), Admin(id=2, name="bob"), Post(number=7, user_id=1)])
        opened.commit()
        yield opened
    engine.dispose()


def read(item: Any) -> Any:
    return DEFAULT[type(item)].read(item)


@pytest.mark.parametrize(
    ("options", "columns"),
    [
        ((), ["id", "name", "kind"]),
        ((load_only(User.id),), ["id", "kind"]),  # which says the class
        ((undefer(User.notes),), ["id", "name", "notes", "kind"]),
    ],
)
def test_a_mapped_object_has_the_columns_that_its_query_loads(
    session: Any, options: tuple[Any, ...], columns: list[str]
) -> None:
    user = session.scalars(select(User).where(User.id == 1).options(*options)).one()
    assert list(read(user)) == columns


def test_nothing_is_loaded_to_read_a_mapped_object(session: Any) -> None:
    user = session.get(User, 1)
    session.expunge(user)
    assert read(user) == {"id": 1, "name": "ann", "kind": "user"}


def test_an_object_of_a_subclass_has_what_was_loaded_of_it(session: Any) -> None:
    through_base = session.scalars(select(User).where(User.id == 2)).one()
    assert read(through_base) == {"id": 2, "name": "bob", "kind": "admin"}
    session.expunge_all()
    assert read(session.get(Admin, 2)) == {"id": 2, "name": "bob", "kind": "admin", "level": 3}


def test_a_new_object_has_none_where_nothing_was_said() -> None:
    assert read(Post(user_id=1)) == {"number": None, "user_id": 1}


def test_an_object_that_has_expired_is_refused_and_not_loaded_again(session: Any) -> None:
    user = session.get(User, 1)
    session.commit()
    with pytest.raises(ValueError, match=r"its column 'id' has expired: refresh it in its session"):
        read(user)


def test_a_row_has_the_columns_of_the_objects_in_it(session: Any) -> None:
    joined = select(User, Post.number).join(Post)
    assert read(session.execute(joined).one()) == {"id": 1, "name": "ann", "kind": "user", "number": 7}
    twice = read(session.execute(select(User.id, User).where(User.id == 1)).first())
    assert twice == {"id": 1, "id_1": 1, "name": "ann", "kind": "user"}


def test_a_row_may_hold_objects_of_an_alias_which_has_no_name(session: Any) -> None:
    other = aliased(Post)
    joined = select(User.name, other, Post).join(Post).join(other, other.number == Post.number)
    read_row = read(session.execute(joined).one())
    assert read_row == {"name": "ann", "number": 7, "user_id": 1, "number_1": 7, "user_id_1": 1}
    none_there = select(User.name, other).outerjoin(other, other.user_id == User.id).where(User.id == 2)
    with pytest.raises(ValueError, match="no object for an alias of a class: give the alias a name"):
        read(session.execute(none_there).one())


def test_a_bundle_is_columns_of_its_row(session: Any) -> None:
    bundle: Bundle[Any] = Bundle("b", User.id, Bundle("c", User.name, User.kind.label("k")))
    assert read(session.execute(select(bundle, Post.number).join(Post)).one()) == {
        "id": 1,
        "name": "ann",
        "k": "user",
        "number": 7,
    }


def test_an_older_model_of_pydantic_is_a_record() -> None:
    kind = type("BaseModel", (), {"__module__": "pydantic.v1.main", "dict": lambda _: {"a": 1}})
    assert read(kind()) == {"a": 1}


def test_a_root_model_is_its_root() -> None:
    adapter = DEFAULT[pydantic.RootModel[list[int]]]
    assert adapter.nature is Nature.VALUE
    assert adapter.read(pydantic.RootModel[list[int]]([1])) == [1]
