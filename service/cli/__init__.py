"""The command line: `main` finds the command and turns its end into an exit code.

`parser` and `flags` read the arguments, `target` opens the model that is meant, `run` passes over
files; each command over files has a module, and `admin` holds those of daemons and folders. A
command's module is imported when it is called. May import the whole house.
"""
