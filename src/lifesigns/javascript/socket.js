/** As much of a WebSocket as a line needs, for Node 20, which has none of its own. */
export class NodeSocket {
  /** @param {string} url @param {string} protocol */
  constructor(url, protocol) {
    this.onopen = this.onmessage = this.onclose = /** @type {((event: any) => void) | null} */ (null);
    /** @type {any} */
    this._stream = null;
    this._received = new Uint8Array(0);
    /** @type {Uint8Array[]} */
    this._parts = [];
    this._ended = false;
    this._open(url, protocol).catch(() => this._end(1006, ""));
  }

  /** @param {string} url @param {string} protocol */
  async _open(url, protocol) {
    const { request } = await import(url.startsWith("wss:") ? "node:https" : "node:http");
    const headers = {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("base64"),
      "Sec-WebSocket-Protocol": protocol,
    };
    const asked = request(url.replace(/^ws/, "http"), { headers });
    asked.on("error", () => this._end(1006, ""));
    asked.on("response", () => {
      this._end(1006, "");
      asked.destroy(); // unread, its answer would keep the program from ending
    });
    asked.on("upgrade", (/** @type {any} */ _, /** @type {any} */ stream, /** @type {Uint8Array} */ head) => {
      if (this._ended) return stream.destroy();
      this._stream = stream;
      stream.setNoDelay(true);
      stream.on("data", (/** @type {Uint8Array} */ data) => this._read(data));
      stream.on("error", () => this._end(1006, ""));
      stream.on("close", () => this._end(1006, ""));
      this.onopen?.({});
      this._read(head);
    });
    asked.end();
  }

  /** @param {string} text */
  send(text) {
    this._write(1, Buffer.from(text));
  }

  close() {
    if (this._stream) this._write(8, Buffer.from([1000 >> 8, 1000 & 255]));
    this._end(1000, "");
  }

  /** @param {number} opcode @param {Uint8Array} payload */
  _write(opcode, payload) {
    const { length } = payload;
    const head = Buffer.alloc(length < 126 ? 6 : length < 65_536 ? 8 : 14);
    head[0] = 0x80 | opcode;
    head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
    if (head.length === 8) head.writeUInt16BE(length, 2);
    if (head.length === 14) head.writeBigUInt64BE(BigInt(length), 2);
    const mask = crypto.getRandomValues(head.subarray(-4));
    this._stream.write(Buffer.concat([head, payload.map((byte, i) => byte ^ mask[i & 3])]));
  }

  /** @param {Uint8Array} data */
  _read(data) {
    let rest = Buffer.concat([this._received, data]);
    while (rest.length >= 2) {
      const short = rest[1] & 127;
      const start = short < 126 ? 2 : short === 126 ? 4 : 10;
      if (rest.length < start) break;
      const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < start + length) break;
      this._take(rest[0], rest.subarray(start, start + length));
      rest = rest.subarray(start + length);
    }
    this._received = rest;
  }

  /** @param {number} first @param {Buffer} payload */
  _take(first, payload) {
    const opcode = first & 15;
    if (this._ended) return;
    if (opcode === 9) return this._write(10, payload);
    if (opcode === 8) return this._end(payload.length < 2 ? 1005 : payload.readUInt16BE(0), payload.toString("utf8", 2));
    if (opcode > 2) return;
    this._parts.push(payload);
    if (!(first & 0x80)) return; // more of it follows
    const data = Buffer.concat(this._parts).toString();
    this._parts = [];
    this.onmessage?.({ data });
  }

  /** @param {number} code @param {string} reason */
  _end(code, reason) {
    if (this._ended) return;
    this._ended = true;
    this._stream?.end();
    this.onclose?.({ code, reason });
  }
}
