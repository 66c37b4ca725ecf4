from noah.cli.main import script

script()
