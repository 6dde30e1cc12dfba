-- file_fdw: nothing of it lies in a schema; its foreign tables are there, and cannot be read.
create foreign data wrapper file_fdw;
