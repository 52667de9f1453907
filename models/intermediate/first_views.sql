-- Who looks at several products is told by the one looked at most; of these, by the last.
with first_visits as (
    select
        customer_id,
        min_by(session_id, (started_at, session_id)) as session_id
    from {{ ref('sessions') }}
    where customer_id is not null
    group by all
),

-- What is looked at after an order says nothing of a newcomer.
views as (
    select
        customers.customer_id,
        events.product_id,
        products.category,
        events.occurred_at,
        events.known_at
    from first_visits
    inner join {{ ref('customers') }} as customers
        on first_visits.customer_id = customers.customer_id
    inner join {{ ref('events') }} as events
        on
            first_visits.session_id = events.session_id
            and customers.first_ordered_at > events.occurred_at
    left join {{ ref('products') }} as products
        on events.product_id = products.product_id
    where
        events.event_type = 'product_view'
        and events.product_id is not null
),

viewed as (
    select
        customer_id,
        product_id,
        category,
        count(*) over (partition by customer_id, product_id) as n_product_views,
        count(*) over (partition by customer_id, category) as n_category_views,
        occurred_at,
        known_at
    from views
)

select
    customer_id,
    max_by(product_id, (n_product_views, occurred_at, product_id)) as product_id,
    max_by(category, (n_category_views, occurred_at, category)) filter (
        where category is not null
    ) as category,
    cast({{ perennial.local_date('max(known_at)') }} as date) as known_on
from viewed
group by all
