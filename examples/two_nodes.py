"""Two hosts, one Person. Run it twice, on two hosts or with two homes on one.

Host A: ``python two_nodes.py``, which prints an id. Host B, or a second terminal:
``DINEMIC_HOME=/tmp/b python two_nodes.py Person:the-id-that-A-printed``.
"""

import sys

import dinemic


class Person(dinemic.DModel):
    """Somebody with a public name and a sealed salary."""

    name = dinemic.DField("name")
    salary = dinemic.DField("salary", True)


dinemic.launch()
if len(sys.argv) == 1:
    person = Person([])
    person.name.set("Bob")
    person.salary.set("1234")
    print(person.get_db_id())
    input("press Enter to stop\n")
else:
    person = Person(sys.argv[1])
    if not dinemic.wait_synced(30):
        sys.exit("no other node was found within 30 seconds")
    print(person.name.get())
    try:
        print(person.salary.get())
    except dinemic.Unreadable as error:
        print(error)
