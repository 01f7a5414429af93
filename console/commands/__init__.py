"""What can be asked on the command line, by noun: options and help; each command's body is loaded when it is called."""
