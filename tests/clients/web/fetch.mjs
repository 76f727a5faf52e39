// A tour of the site by Node's own fetch.
import { tour } from "./tour.mjs";

await tour(fetch);
