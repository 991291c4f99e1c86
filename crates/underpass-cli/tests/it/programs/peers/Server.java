import java.io.*;
import java.net.*;
import java.nio.*;
import java.nio.channels.*;
import java.nio.file.*;

class Server {
    public static void main(String[] arguments) throws Exception {
        String way = arguments[0];
        ServerSocketChannel listener = ServerSocketChannel.open();
        listener.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[1])));
        while (true) {
            SocketChannel peer = listener.accept();
            new Thread(() -> {
                try (peer) { answer(peer, way); } catch (IOException e) { }
            }).start();
        }
    }

    static void answer(SocketChannel peer, String way) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(peer.socket().getInputStream()));
        String first = in.readLine();
        if (first == null) return;
        while (!in.readLine().isEmpty()) { }
        Path path = Path.of(first.split(" ")[1].substring(1));
        try (FileChannel file = FileChannel.open(path)) {
            long size = file.size();
            byte[] head = ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + size + "\r\n\r\n").getBytes();
            peer.write(ByteBuffer.wrap(head));
            switch (way) {
                case "transferTo" -> {
                    for (long at = 0; at < size;) at += file.transferTo(at, size - at, peer);
                }
                case "mapped" -> {
                    ByteBuffer all = file.map(FileChannel.MapMode.READ_ONLY, 0, size);
                    while (all.hasRemaining()) peer.write(all);
                }
                default -> {
                    InputStream from = new FileInputStream(path.toFile());
                    from.transferTo(peer.socket().getOutputStream());
                    from.close();
                }
            }
        }
    }
}
