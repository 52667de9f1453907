{{ config(enabled=target.type != 'spark') }}
-- Nobody can foretell customers this well. An AUC near 1 means that a feature knows the future.
select
    model_name,
    roc_auc
from {{ ref('churn_model_evaluation') }}
where roc_auc > 0.98
