CREATE TABLE IF NOT EXISTS millstream_streams (
    name bytea PRIMARY KEY, state bytea NOT NULL, due double precision, leased boolean NOT NULL);
CREATE INDEX IF NOT EXISTS millstream_streams_due ON millstream_streams (due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS millstream_streams_leased ON millstream_streams (leased) WHERE leased;
CREATE TABLE IF NOT EXISTS millstream_records (
    incarnation text, "end" bigint, data bytea NOT NULL, PRIMARY KEY (incarnation, "end"));
CREATE TABLE IF NOT EXISTS millstream_producers (
    incarnation text, id bytea, epoch bigint, seq bigint, PRIMARY KEY (incarnation, id));
INSERT INTO millstream_streams VALUES ('\x6a736f6e'::bytea, '\xdc0011a46a736f6eb038626264376632343966323835623366b06170706c69636174696f6e2f6a736f6e0300c3c2c0c0c0c090c000c2c0c2'::bytea, NULL, false);
INSERT INTO millstream_streams VALUES ('\x666f726b'::bytea, '\xdc0011a4666f726bb032623163393436663663306139333934aa746578742f706c61696e1300c2c2c0c0c0c09192b0313930643566323830303535626139640da47465787400c2c0c2'::bytea, NULL, false);
INSERT INTO millstream_streams VALUES ('\x74657874'::bytea, '\xdc0011a474657874b031393064356632383030353562613964aa746578742f706c61696e1800c2c2c0c0c0c090c001c2c0c2'::bytea, NULL, false);
INSERT INTO millstream_streams VALUES ('\x7472696d6d6564'::bytea, '\xdc0011a77472696d6d6564b035663064366265326331326231373736aa746578742f706c61696e0804c2c2c0c0c0c090c000c2c0c2'::bytea, NULL, false);
INSERT INTO millstream_streams VALUES ('\x72756e'::bytea, '\xdc0011a372756eb030303230313930363362313437333031aa746578742f706c61696e0900c2c2c0c0c0c090c000c295b06339366231326464386333373166376200cb3ff000000000000000c40464696564c2'::bytea, NULL, true);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 6, '\x666972737420'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 8, '\x3020'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 12, '\x616e6420'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 14, '\x3120'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 18, '\x616e6420'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 20, '\x3220'::bytea);
INSERT INTO millstream_records VALUES ('190d5f280055ba9d', 24, '\x616e6420'::bytea);
INSERT INTO millstream_records VALUES ('8bbd7f249f285b3f', 1, '\x31'::bytea);
INSERT INTO millstream_records VALUES ('8bbd7f249f285b3f', 3, '\x3232'::bytea);
INSERT INTO millstream_records VALUES ('2b1c946f6c0a9394', 19, '\x666f726b6564'::bytea);
INSERT INTO millstream_records VALUES ('5f0d6be2c12b1776', 8, '\x6b657074'::bytea);
INSERT INTO millstream_records VALUES ('002019063b147301', 9, '\x70726f647563656420'::bytea);
INSERT INTO millstream_producers VALUES ('190d5f280055ba9d', '\x70'::bytea, 0, 2);
INSERT INTO millstream_producers VALUES ('002019063b147301', '\x63393662313264643863333731663762'::bytea, 0, 0);
