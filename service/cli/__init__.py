"""The command line: `main` finds the command, `flags` and `arguments` read it.

`data` learns and scores files, `admin` asks a daemon or inspects a folder, `demo` shows it all.
May import the whole house.
"""
