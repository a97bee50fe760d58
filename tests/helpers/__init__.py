"""What tests and benchmarks have in common.

===============  =================================================================================
``world``        stock ``hg`` processes, people's clones, and headless servers: begin here
``cmdserver``    one ``hg`` process for many commands
``services``     a real Postgres and a real S3 server
``pgproxy``      Postgres behind a proxy that fails on demand
``s3proxy``      the S3 server behind a proxy that refuses on demand
``balancer``     several web servers behind one address
``web``          asking web servers
``consumer``     a webhook that receives announcements
``embedded``     what the embedded store of a server holds, and changes of it
``many_drafts``  many drafts at once
``kept``         servers of older releases
``old_pushlog``  a ``pushlog2.db`` of hg.mozilla.org
``forge``        pushes that no honest client sends
``lying``        a server for such pushes, and what becomes of them
``documents``    blocks of code in docs/operating.rst
``fleet``        two push servers and a replica; a backup of their database
``machines``     machines of a fleet: namespaces with a network, files and processes of their own
``systemctl``    stands in for systemd on them
===============  =================================================================================
"""
