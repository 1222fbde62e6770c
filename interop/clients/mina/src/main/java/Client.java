import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.net.Socket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.sshd.client.SshClient;
import org.apache.sshd.client.channel.ChannelDirectTcpip;
import org.apache.sshd.client.channel.ChannelExec;
import org.apache.sshd.client.channel.ClientChannelEvent;
import org.apache.sshd.client.keyverifier.AcceptAllServerKeyVerifier;
import org.apache.sshd.client.session.ClientSession;
import org.apache.sshd.common.keyprovider.FileKeyPairProvider;
import org.apache.sshd.common.util.net.SshdSocketAddress;
import org.apache.sshd.core.CoreModuleProperties;

/** Apache MINA SSHD's client, driven over standard input: see interop/program.py for the commands. */
public final class Client {
    private static final Duration PATIENCE = Duration.ofSeconds(20);
    private static final SshClient client = SshClient.setUpDefaultClient();
    private static final Map<String, SshdSocketAddress> bound = new HashMap<>();
    private static ClientSession session;

    public static void main(String[] arguments) throws Exception {
        System.out.println("ready " + client.getVersion());
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            try {
                System.out.println("ok " + obey(line.split(" ", -1), line));
            } catch (Exception error) {
                System.out.println("no " + String.valueOf(error).replace('\n', ' '));
            }
            if (line.equals("quit")) {
                System.exit(0);
            }
        }
    }

    private static String obey(String[] words, String line) throws Exception {
        switch (words[0]) {
            case "login":
                return login(words);
            case "forward":
                return forward(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "cancel":
                session.stopRemotePortForwarding(bound.remove(words[1] + ":" + words[2]));
                return "";
            case "exec":
                return exec(line.substring("exec ".length()));
            case "direct":
                return direct(words[1], Integer.parseInt(words[2]), Integer.parseInt(words[3]));
            case "rekey":
                return ""; // by REKEY_BYTES_LIMIT
            case "quit":
                session.close(false).await(PATIENCE);
                client.stop();
                return "";
            default:
                throw new IllegalArgumentException("unknown command");
        }
    }

    private static String login(String[] words) throws Exception {
        client.setServerKeyVerifier(AcceptAllServerKeyVerifier.INSTANCE); // the gateway is of this run alone
        client.setKeyIdentityProvider(new FileKeyPairProvider(Path.of(words[4])));
        client.setHostConfigEntryResolver(org.apache.sshd.client.config.hosts.HostConfigEntryResolver.EMPTY);
        client.setForwardingFilter(org.apache.sshd.server.forward.AcceptAllForwardingFilter.INSTANCE);
        long bytes = Long.parseLong(words[5]);
        if (bytes > 0) {
            CoreModuleProperties.REKEY_BYTES_LIMIT.set(client, bytes);
        }
        client.start();
        session = client.connect(words[3], words[1], Integer.parseInt(words[2])).verify(PATIENCE).getSession();
        session.auth().verify(PATIENCE);
        return "";
    }

    private static String forward(String host, int port, int target) throws Exception {
        var given = session.startRemotePortForwarding(
            new SshdSocketAddress(host, port), new SshdSocketAddress("127.0.0.1", target));
        bound.put(host + ":" + given.getPort(), given);
        return "" + given.getPort();
    }

    private static String exec(String command) throws Exception {
        try (ChannelExec channel = session.createExecChannel(command)) {
            var output = new ByteArrayOutputStream();
            channel.setOut(output);
            channel.setErr(new ByteArrayOutputStream());
            channel.open().verify(PATIENCE);
            channel.waitFor(EnumSet.of(ClientChannelEvent.CLOSED), PATIENCE);
            return channel.getExitStatus() + " " + HexFormat.of().formatHex(output.toByteArray());
        }
    }

    private static String direct(String host, int port, int target) throws Exception {
        ChannelDirectTcpip channel = session.createDirectTcpipChannel(
            new SshdSocketAddress("127.0.0.1", 1), new SshdSocketAddress(host, port));
        channel.open().verify(PATIENCE);
        Socket local = new Socket("127.0.0.1", target);
        var up = new Thread(() -> copy(() -> local.getInputStream().transferTo(channel.getInvertedIn()),
            () -> channel.getInvertedIn().close()));
        var down = new Thread(() -> copy(() -> channel.getInvertedOut().transferTo(local.getOutputStream()),
            local::shutdownOutput));
        up.start();
        down.start();
        return "";
    }

    private interface Step {
        void run() throws Exception;
    }

    private static void copy(Step all, Step end) {
        try {
            all.run();
            end.run();
        } catch (Exception error) {
            System.err.println("relay: " + error);
        }
    }
}
