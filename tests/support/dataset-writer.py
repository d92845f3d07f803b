"""A foreign program that writes to a SQLite file, for tests: FILE, then statements that set its connection up.

Reads JSON lines from standard input, each a list of SQL statements; runs them one behind the other, leaves what fails
of them undone, and answers each line by one: null, or the first error's text.
"""
import json
import sqlite3
import sys


def run(db, statements):
    try:
        for sql in statements:
            db.execute(sql)
    except sqlite3.Error as error:
        return str(error)
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")
    return None


def main(file, pragmas):
    db = sqlite3.connect(file, timeout=10, isolation_level=None)
    for pragma in pragmas:
        db.execute(pragma).fetchall()
    for line in sys.stdin:
        print(json.dumps(run(db, json.loads(line))), flush=True)


main(sys.argv[1], sys.argv[2:])
