process.stdout.write("hub\n")
