"""SQLite as a guest: 1.1 MB of code that nobody wrote for us answers queries.

What the answers must be is said by Python's own sqlite3 module, on the same statements; and the
database file that the guest leaves behind is opened by it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from wrt_platform import Limits, Module, run

LIMITS = Limits(memory="64MiB", fuel=20_000_000_000, timeout=120)

SCHEMA = """
create table customer(id integer primary key, name text not null, city text);
create table bill(id integer primary key, customer integer references customer, day text,
    cents integer check(cents > 0));
"""
ROWS = """
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 500)
    insert into customer select i, 'customer ' || i, case i % 7 when 0 then null
    else char(65 + i % 5) || 'town' end from n;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000)
    insert into bill select i, 1 + i * 37 % 500, date('2025-01-01', (i % 300) || ' days'),
    100 + i * 7919 % 90000 from n;
commit;
create index bill_by_customer on bill(customer, day);
"""
QUESTIONS = [
    "select count(*), sum(cents), min(cents), max(cents) from bill",
    "select city, count(*), sum(cents) from customer join bill on customer.id = bill.customer "
    "group by city order by city",
    "select name, total from (select customer, sum(cents) as total from bill group by customer) "
    "join customer on customer.id = customer order by total desc, name limit 10",
    "select substr(day, 1, 7) as month, count(*), round(avg(cents) / 100.0, 3) from bill "
    "group by month order by month",
    "select id, cents, rank() over (order by cents desc, id) from bill order by id limit 5",
    "select upper(name), length(city), hex(name) from customer where city is null limit 3",
    "select count(*) from customer a left join bill b on a.id = b.customer and b.cents > 80000 "
    "where b.id is null",
    "select 0.1 + 0.2 = 0.3, 7 / 2, 7 % -2, 1e308 * 10, 9223372036854775807, -0.0, "
    "cast('12x' as int)",
    "select day from bill where day like '2025-03-%' and cents between 200 and 900 order by 1",
    "select group_concat(id, ';') from (select id from bill where customer = 38 order by id)",
]


@pytest.fixture(scope="session")
def module(sqlite: Path) -> Module:
    return Module(sqlite)


@pytest.fixture
def native() -> Iterator[sqlite3.Connection]:
    """The same database, in Python's own SQLite."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA + ROWS)
    yield connection
    connection.close()


def ask(module: Module, folder: Path, *statements: str) -> str:
    """Runs statements on the database of a folder and returns the rows as the shell prints them."""
    arguments = ["/db/test.db", *statements]
    result = run(module, arguments, limits=LIMITS, dirs={"/db": folder})
    assert result.error is None, result.error
    assert result.exit_code == 0, result.stderr.decode()
    return result.output


def as_shell(rows: list[tuple[str | None, ...]]) -> str:
    lines = ("|".join("NULL" if value is None else value for value in row) for row in rows)
    return "".join(f"{line}\n" for line in lines)


def in_text(question: str, native: sqlite3.Connection) -> str:
    """Python's answer, each value turned into text by SQLite itself."""
    columns = [column[0] for column in native.execute(question).description]
    names = [f"c{number}" for number in range(len(columns))]
    casts = ", ".join(f"cast({name} as text)" for name in names)
    query = f"with answer({', '.join(names)}) as ({question}) select {casts} from answer"
    return as_shell(native.execute(query).fetchall())


@pytest.mark.row("WE-6")
def test_queries_are_answered_as_by_the_native_library(
    module: Module, native: sqlite3.Connection, tmp_path: Path
) -> None:
    ask(module, tmp_path, SCHEMA, ROWS)
    answers = [ask(module, tmp_path, question) for question in QUESTIONS]
    assert answers == [in_text(question, native) for question in QUESTIONS]
    assert all(answers)


@pytest.mark.row("WE-6")
def test_database_file_is_read_by_the_native_library(module: Module, tmp_path: Path) -> None:
    ask(module, tmp_path, SCHEMA, ROWS)
    with sqlite3.connect(tmp_path / "test.db") as written:
        assert written.execute("pragma integrity_check").fetchall() == [("ok",)]
        assert written.execute("select count(*) from bill").fetchone() == (5000,)
    written.close()
    assert [path.name for path in tmp_path.iterdir()] == ["test.db"]  # no journal is left


def test_database_of_the_native_library_is_read(module: Module, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "test.db") as made:
        made.executescript("create table t(x); insert into t values ('from outside'), (null)")
    made.close()
    assert ask(module, tmp_path, "select x from t") == "from outside\nNULL\n"


def test_statements_come_from_a_file(module: Module, tmp_path: Path) -> None:
    (tmp_path / "script.sql").write_text(SCHEMA + ROWS + "select count(*) from customer;")
    assert ask(module, tmp_path, "--file", "/db/script.sql") == "500\n"


def test_an_error_of_sql_is_told(module: Module, tmp_path: Path) -> None:
    result = run(module, ["/db/test.db", "select * from nowhere"], dirs={"/db": tmp_path})
    assert result.exit_code == 1
    assert b"no such table: nowhere" in result.stderr


def test_interrupted_transaction_is_rolled_back(module: Module, tmp_path: Path) -> None:
    """The fuel ends in the middle of a large transaction; what was there before is still there."""
    ask(module, tmp_path, "create table t(x); insert into t values (1)")
    grow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) "
    arguments = ["/db/test.db", f"{grow} insert into t select randomblob(2000) from n"]
    stopped = run(module, arguments, fuel=300_000_000, memory="64MiB", dirs={"/db": tmp_path})
    assert stopped.exit_code == 125
    assert (tmp_path / "test.db-journal").exists()
    assert ask(module, tmp_path, "select count(*) from t", "pragma integrity_check") == "1\nok\n"


@pytest.mark.row("WE-1")
def test_less_is_built_than_there_is_code(module: Module) -> None:
    """The module is executed where it lies: a copy of its code alone would be larger than this."""
    usage = module.usage
    assert usage.code_bytes > 900_000
    assert usage.buffer_bytes < 0.45 * usage.code_bytes
