from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.database.statements import Effect, effect_of


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM users",
        "  select count(*) from users where name in ('update', 'insert into')",
        "-- delete\nSELECT 1",
        "/* update */ select 1",
        "WITH recent AS (SELECT 1) SELECT * FROM recent",
        "(SELECT 1) UNION (SELECT 2)",
        "VALUES (1), (2)",
        "ROLLBACK TO SAVEPOINT sa_savepoint_1",
        'SELECT "delete" FROM users',
        "SELECT 'it''s; DELETE' FROM users",
    ],
)
def test_what_only_reads_is_known_to(statement: str) -> None:
    assert effect_of(statement) is Effect.READS


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO users VALUES (1)",
        "update users set name = 'x'",
        "DELETE FROM users",
        "MERGE INTO users USING x ON true WHEN MATCHED THEN DELETE",
        "CREATE TABLE t (x int)",
        "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
        "SELECT * FROM users FOR UPDATE",
        "SELECT * FROM users FOR NO KEY UPDATE",
        "SELECT * FROM users FOR KEY SHARE",
        "SELECT * INTO copy FROM users",
        "SET LOCAL work_mem = '1MB'",
        "CALL transfer(1, 2)",
        "EXPLAIN ANALYZE DELETE FROM users",
        "",
        "???",
    ],
)
def test_what_writes_or_locks_or_is_not_understood_keeps_its_connection(statement: str) -> None:
    assert effect_of(statement) is Effect.WRITES


@pytest.mark.parametrize(
    "statement", ["SELECT transfer(1, 2)", "select pg_advisory_xact_lock(1)", "SELECT app.f (1)"]
)
def test_a_function_that_nobody_knows_leaves_a_doubt(statement: str) -> None:
    assert effect_of(statement) is Effect.UNKNOWN


@given(st.text())
def test_no_text_is_too_strange(statement: str) -> None:
    assert effect_of(statement) in Effect


@given(st.text(alphabet="'\"-/*\n xu"))
def test_quotes_that_do_not_match_hide_no_write(noise: str) -> None:
    unquoted = noise.replace("'", "").replace('"', "").replace("-", "").replace("/", "").replace("*", "")
    assert effect_of(f"update t {unquoted}") is Effect.WRITES


def test_a_long_statement_is_judged_and_not_remembered() -> None:
    assert effect_of(f"SELECT {'1, ' * 10_000} 1") is Effect.READS
