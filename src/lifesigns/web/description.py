DESCRIPTION = {"openapi": "3.1.0"}
