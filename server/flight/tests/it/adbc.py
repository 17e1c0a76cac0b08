"""What a user of ADBC does with the Flight SQL door. Says what it ran; anything wrong is an error."""

import datetime
import decimal
import sys
import warnings

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow
from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

# There are no transactions: the driver says that it stays in autocommit.
warnings.simplefilter("ignore")


def connect(url, **options):
    return flightsql.connect(url, db_kwargs=options)


def refused(call, kind=Exception):
    try:
        call()
    except kind as error:
        return str(error)
    raise AssertionError("it is not refused")


def session(url, everything, reader):
    bearer = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {everything}"}
    with connect(url, **bearer) as connection:
        cursor = connection.cursor()

        cursor.execute("SELECT * FROM items ORDER BY id")
        items = cursor.fetch_arrow_table()
        assert items.num_rows == 5, items
        row = items.slice(0, 1).to_pylist()[0]
        assert row["name"] == "plain" and row["exact"] == decimal.Decimal("1.23"), row
        assert row["large"] == 2**64 - 1 and row["day"] == datetime.date(2013, 1, 1), row
        assert row["raw"] == b"\x00\xff" and row["at"] == datetime.time(0), row
        assert items.slice(2, 1).to_pylist()[0]["name"] is None

        cursor.execute("SELECT id FROM items WHERE name = ? AND id = ?", ("plain", 1))
        assert cursor.fetchall() == [(1,)]
        cursor.execute("SELECT id FROM items WHERE id = $1", (4,))
        assert cursor.fetchone() == (4,)
        cursor.execute("SELECT id FROM items WHERE id = $1", (None,))
        assert cursor.fetchall() == []
        cursor.execute("SELECT * FROM items WHERE id > 100")
        assert cursor.fetch_arrow_table().num_rows == 0 and len(cursor.description) == 10

        # Statements run also if nobody fetches what they answer.
        cursor.execute("CREATE TABLE fruits (id BIGINT, name VARCHAR, PRIMARY KEY (id))")
        cursor.execute("INSERT INTO fruits VALUES (1, 'apple')")
        cursor.executemany("INSERT INTO fruits VALUES (?, ?)", [(2, "pear"), (3, None)])
        cursor.execute("INSERT INTO fruits VALUES ($1, $2)", (4, "plum"))
        cursor.execute("SELECT id, name FROM fruits ORDER BY id")
        assert cursor.fetchall() == [(1, "apple"), (2, "pear"), (3, None), (4, "plum")]
        cursor.adbc_statement.set_sql_query("DELETE FROM fruits WHERE id > 2")
        assert cursor.adbc_statement.execute_update() == 2

        table = pyarrow.table({"id": pyarrow.array([7, 8], pyarrow.int64()), "name": ["x", None]})
        assert cursor.adbc_ingest("fruits", table, mode="append") == 2
        assert cursor.adbc_ingest("made", table, mode="create") == 2
        refused(lambda: cursor.adbc_ingest("made", table, mode="create"))
        assert cursor.adbc_ingest("made", table, mode="create_append") == 2
        assert cursor.adbc_ingest("made", table, mode="replace") == 2
        cursor.execute("SELECT count(*) FROM made")
        assert cursor.fetchone() == (2,)

        cursor.execute("SELECT * FROM many")
        rows = sum(batch.num_rows for batch in cursor.fetch_record_batch())
        assert rows == 1_000_000, rows
        # A reader that is left half-way.
        cursor.execute("SELECT * FROM many")
        next(iter(cursor.fetch_record_batch()))
        cursor.close()
        cursor = connection.cursor()

        catalog = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        assert [entry["catalog_name"] for entry in catalog] == ["pillion"], catalog
        tables = catalog[0]["catalog_db_schemas"][0]["db_schema_tables"]
        names = sorted(table["table_name"] for table in tables)
        assert names == ["flights", "fruits", "items", "made", "many"], names
        columns = next(table for table in tables if table["table_name"] == "fruits")["table_columns"]
        assert [column["column_name"] for column in columns] == ["id", "name"], columns
        some = connection.adbc_get_objects(depth="tables", table_name_filter="fr%").read_all().to_pylist()
        assert len(some[0]["catalog_db_schemas"][0]["db_schema_tables"]) == 1
        assert connection.adbc_get_table_schema("items").field("id").type == pyarrow.int64()
        assert connection.adbc_get_table_types() == ["TABLE"]
        assert connection.adbc_get_info()["vendor_name"] == "Pillion"
        schema = cursor.adbc_execute_schema("SELECT id, name FROM items")
        assert schema.names == ["id", "name"]
        cursor.adbc_prepare("SELECT name FROM items WHERE id = ?")

        partitions, schema = cursor.adbc_execute_partitions("SELECT id FROM items")
        assert len(partitions) == 1 and schema.names == ["id"]
        cursor.adbc_read_partition(partitions[0])
        assert cursor.fetch_arrow_table().num_rows == 5

        why = refused(lambda: cursor.execute("SELECT * FROM itms"))
        assert "items" in why, why
        refused(lambda: cursor.execute("SELEC 1"), adbc_driver_manager.Error)
        cursor.close()

    # The token as a password, and a token that may do less.
    login = {"username": "anyone", "password": reader}
    with connect(url, **login) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
        assert cursor.fetchone() == (5,)
        refused(lambda: cursor.execute("SELECT * FROM flights"), adbc_driver_manager.Error)
        refused(lambda: cursor.execute("DELETE FROM items"), adbc_driver_manager.Error)
        listed = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
        assert len(listed[0]["catalog_db_schemas"][0]["db_schema_tables"]) == 1
    wrong = {"username": "anyone", "password": "wrong-token-0123456789"}
    refused(lambda: connect(url, **wrong), adbc_driver_manager.Error)
    with connect(url, **{DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer wrong"}) as connection:
        with connection.cursor() as cursor:
            refused(lambda: cursor.execute("SELECT 1"), adbc_driver_manager.Error)


def encrypted(url, root, certificate, key):
    def text(path):
        with open(path) as file:
            return file.read()

    trust = {DatabaseOptions.TLS_ROOT_CERTS.value: text(root)}
    own = {
        DatabaseOptions.MTLS_CERT_CHAIN.value: text(certificate),
        DatabaseOptions.MTLS_PRIVATE_KEY.value: text(key),
    }
    with connect(url, **trust, **own) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
        assert cursor.fetchone() == (5,)

    def ask(**options):
        with connect(url, **options) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    refused(lambda: ask(**trust), adbc_driver_manager.Error)
    refused(lambda: ask(**own), adbc_driver_manager.Error)


{"session": session, "encrypted": encrypted}[sys.argv[1]](*sys.argv[2:])

print("everything ran")
