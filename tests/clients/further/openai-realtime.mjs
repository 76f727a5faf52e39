// The library openai: REST, then a session of the Realtime API over ws, which is closed when standard input ends.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

const print = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const client = new OpenAI();
const models = await client.models.list();
const session = new OpenAIRealtimeWS({ model: models.data[0].id }, client);

session.on("session.created", () => {
  print("ready", { model: models.data[0].id });
  session.send({ type: "session.update", session: { type: "realtime", instructions: "Be brief." } });
});
session.on("session.updated", () => {
  print("message");
  session.send({ type: "response.create" });
});
session.on("response.done", ({ response }) => print("answered", { status: response.status }));
session.on("error", (error) => print("error", { message: error.message }));
session.socket.on("close", () => print("closed"));

process.stdin.on("end", () => session.close());
process.stdin.resume();
