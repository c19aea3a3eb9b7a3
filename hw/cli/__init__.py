"""What all command lines share: configuration files, output modes, and `sigmaquant` itself."""
