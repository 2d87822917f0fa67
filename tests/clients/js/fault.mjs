// A WAMP error, the same for every library.

export class Fault extends Error {
  constructor(uri, args = [], kwargs = {}) {
    super(uri);
    this.uri = uri;
    this.args = args;
    this.kwargs = kwargs;
  }
}
