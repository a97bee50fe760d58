"""Packaging of hgext_headless."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.compile(r"^__version__ = '(.+)'$", re.M)

setup(
    name='hgext-headless',
    version=VERSION.search((HERE / 'hgext_headless/__init__.py').read_text())[1],
    description='Headless repositories for Mercurial: drafts live in S3 and Postgres',
    long_description=(HERE / 'README.rst').read_text(encoding='utf-8'),
    long_description_content_type='text/x-rst',
    license='GPL-2.0-or-later',
    classifiers=[
        'Development Status :: 5 - Production/Stable',
        'Environment :: Console',
        'Environment :: Web Environment',
        'Intended Audience :: System Administrators',
        'Operating System :: POSIX',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.9',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Programming Language :: Python :: 3.13',
        'Topic :: Software Development :: Version Control',
    ],
    python_requires='>=3.9',
    packages=find_packages(include=['hgext_headless', 'hgext_headless.*']),
    package_data={
        'hgext_headless': ['help/*.rst'],
        'hgext_headless.catalog': ['migrations/*.py', 'migrations/versions/*.py'],
        'hgext_headless.hgweb.pushlog': ['templates/map', 'templates/*.tmpl', 'templates/*/*.tmpl'],
    },
    install_requires=[
        'mercurial>=6.9,<7.3',
        'SQLAlchemy>=2.0,<2.2',
        'alembic>=1.13',
        'psycopg2-binary>=2.9',
        'boto3>=1.36',
        'parsedatetime>=2.6',
    ],
    extras_require={'prometheus': ['prometheus-client>=0.19']},
    entry_points={
        'console_scripts': ['headless-quickstart = hgext_headless.quickstart:main'],
    },
)
