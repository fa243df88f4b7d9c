"""Floor 3: files of other tools, turned into our records; ``formats/`` has a file a tool."""
