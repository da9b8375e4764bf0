collect_ignore = ["example"]  # a package of its own, whose tests run where it is installed
