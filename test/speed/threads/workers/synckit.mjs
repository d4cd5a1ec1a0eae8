import { runAsWorker } from "synckit"

runAsWorker(async (value) => value + 1)
