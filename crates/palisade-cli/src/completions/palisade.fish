# What TAB offers for palisade in fish. Made by: palisade completions fish

complete -c palisade -f -k -a '(command palisade completions --complete -- (commandline -opc) (commandline -ct) 2>/dev/null)'
