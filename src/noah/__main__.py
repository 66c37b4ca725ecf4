from noah.cli.main import main

raise SystemExit(main())
