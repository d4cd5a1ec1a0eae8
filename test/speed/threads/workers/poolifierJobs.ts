import { ThreadWorker } from "poolifier"
import { jobs } from "./jobs.ts"

export default new ThreadWorker({
  triple: (n) => jobs.triple(n as number),
  echo: jobs.echo,
  spin: (steps) => jobs.spin(steps as number)
})
