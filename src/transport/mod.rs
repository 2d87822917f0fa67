//! Bytes to messages and back, per connection: WebSocket, RawSocket, and the queue of bytes to write.
