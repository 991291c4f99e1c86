import com.sun.net.httpserver.*;
import java.io.*;
import java.net.InetSocketAddress;
import java.security.KeyStore;
import javax.net.ssl.*;

/** Answers over TLS with bytes that it makes. */
class Secure {
    public static void main(String[] arguments) throws Exception {
        char[] word = "changeit".toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = new FileInputStream(arguments[0])) { store.load(in, word); }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, word);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), null, null);
        InetSocketAddress address = new InetSocketAddress("127.0.0.1", Integer.parseInt(arguments[1]));
        HttpsServer server = HttpsServer.create(address, 0);
        server.setHttpsConfigurator(new HttpsConfigurator(context));
        byte[] made = new byte[1 << 22];
        for (int i = 0; i < made.length; i++) made[i] = (byte) i;
        server.createContext("/", exchange -> {
            exchange.sendResponseHeaders(200, made.length);
            try (OutputStream out = exchange.getResponseBody()) { out.write(made); }
        });
        server.start();
    }
}
