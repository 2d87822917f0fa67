// A client that subscribes and does not read, and comes back whenever it is cut; and another that
// publishes for it. RawSocket with JSON.

import { connect } from "node:net";

const ROLES = { publisher: {}, subscriber: {} };

class Client {
    #socket;
    #heard = Buffer.alloc(0);
    #waiting = [];

    constructor(address) {
        const [host, port] = address.split(":");
        this.#socket = connect({ host, port: Number(port) });
        this.ended = new Promise((resolve) => this.#socket.once("close", resolve));
        this.#socket.on("error", () => {});
        this.#socket.on("data", (bytes) => this.#hear(bytes));
        this.#socket.write(Buffer.from([0x7f, 0xf1, 0, 0]));
    }

    #hear(bytes) {
        this.#heard = Buffer.concat([this.#heard, bytes]);
        while (this.#heard.length >= 4 && this.#waiting.length > 0) {
            const isOpening = this.#heard[0] === 0x7f;
            const end = isOpening ? 4 : 4 + this.#heard.readUIntBE(1, 3);
            if (this.#heard.length < end) return;
            const text = this.#heard.subarray(4, end).toString();
            this.#heard = this.#heard.subarray(end);
            if (!isOpening) this.#waiting.shift()(JSON.parse(text));
        }
    }

    send(message) {
        const text = Buffer.from(JSON.stringify(message));
        const head = Buffer.alloc(4);
        head.writeUIntBE(text.length, 1, 3);
        this.#socket.write(Buffer.concat([head, text]));
    }

    receive() {
        const said = new Promise((resolve) => {
            this.#waiting.push(resolve);
            this.#hear(Buffer.alloc(0));
        });
        return Promise.race([
            said,
            this.ended.then(() => {
                throw new Error("the router has closed the connection");
            }),
        ]);
    }

    async join(ticket) {
        const login = ticket ? { authmethods: ["ticket"], authid: "sleepy" } : {};
        this.send([1, "realm1", { roles: ROLES, ...login }]);
        let said = await this.receive();
        if (said[0] === 4) {
            this.send([5, ticket, {}]);
            said = await this.receive();
        }
        if (said[0] !== 2) throw new Error(`not welcome: ${JSON.stringify(said)}`);
    }

    stopReading() {
        this.#socket.pause();
    }

    close() {
        this.#socket.destroy();
    }
}

// Begins; what comes back ends it.
export async function stall(address, ticket) {
    let isOver = false;
    let [sleepy, publisher] = [undefined, new Client(address)];
    await publisher.join();
    const large = "x".repeat(64 * 1024);
    let request = 0;
    const timer = setInterval(() => {
        request += 1;
        publisher.send([16, request, {}, TOPIC, [large]]);
    }, 50);
    const sleep = async () => {
        while (!isOver) {
            sleepy = new Client(address);
            await sleepy.join(ticket);
            sleepy.send([32, 1, {}, TOPIC]);
            await sleepy.receive();
            sleepy.stopReading();
            // Who does not read does not hear that it was cut, either.
            await new Promise((wake) => setTimeout(wake, SLEEP_MS));
            sleepy.close();
        }
    };
    // Who waits for it to be slow says that it is not.
    sleep().catch((error) => console.log(`sleepy: ${error}`));
    return () => {
        isOver = true;
        clearInterval(timer);
        publisher.close();
        sleepy.close();
    };
}

const SLEEP_MS = 15_000;
const TOPIC = "com.example.large";
