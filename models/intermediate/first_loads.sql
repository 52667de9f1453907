select
    'orders' as table_name,
    min(ingested_at) as load_began_at
from {{ ref('stg_orders') }}

union all

select
    'refunds' as table_name,
    min(ingested_at) as load_began_at
from {{ ref('stg_refunds') }}

union all

select
    'events' as table_name,
    min(ingested_at) as load_began_at
from {{ ref('stg_events') }}

union all

select
    'reviews' as table_name,
    min(ingested_at) as load_began_at
from {{ ref('stg_reviews') }}
